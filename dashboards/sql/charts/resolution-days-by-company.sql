-- Resolution days by company: Companies with most answers: days to the company, relief, timeliness.
SELECT
    company,
    COUNT(*) AS answers,
    AVG(resolution_days) AS resolution_days_mean,
    SUM(CASE WHEN is_relief THEN 1e0 ELSE 0e0 END) / NULLIF(SUM(CASE WHEN is_relief IS NOT NULL THEN 1e0 ELSE 0e0 END), 0) AS relief_rate,
    SUM(CASE WHEN timely_response THEN 1e0 ELSE 0e0 END) / NULLIF(SUM(CASE WHEN timely_response IS NOT NULL THEN 1e0 ELSE 0e0 END), 0) AS timely_rate
FROM serving.resolutions
GROUP BY company
ORDER BY answers DESC, company
LIMIT 25
