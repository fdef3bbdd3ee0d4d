-- Relief and timely rates: Shares of answers with relief and in time, by quarter.
SELECT
    date_trunc('quarter', date_received) AS date_received,
    SUM(CASE WHEN is_relief THEN 1e0 ELSE 0e0 END) / NULLIF(SUM(CASE WHEN is_relief IS NOT NULL THEN 1e0 ELSE 0e0 END), 0) AS relief_rate,
    SUM(CASE WHEN timely_response THEN 1e0 ELSE 0e0 END) / NULLIF(SUM(CASE WHEN timely_response IS NOT NULL THEN 1e0 ELSE 0e0 END), 0) AS timely_rate
FROM serving.resolutions
WHERE date_received >= DATE'2011-12-01'
GROUP BY date_trunc('quarter', date_received)
ORDER BY date_received
LIMIT 10000
