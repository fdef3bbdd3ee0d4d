-- Timely rate: Share of the answers that came in time.
SELECT
    SUM(CASE WHEN timely_response THEN 1e0 ELSE 0e0 END) / NULLIF(SUM(CASE WHEN timely_response IS NOT NULL THEN 1e0 ELSE 0e0 END), 0) AS timely_rate
FROM serving.resolutions
