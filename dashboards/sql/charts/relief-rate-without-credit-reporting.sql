-- Relief rate without credit reporting: The same, credit reporting left out.
SELECT
    SUM(CASE WHEN is_relief AND product <> 'Credit reporting' THEN 1e0 ELSE 0e0 END) / NULLIF(SUM(CASE WHEN is_relief IS NOT NULL AND product <> 'Credit reporting' THEN 1e0 ELSE 0e0 END), 0) AS relief_rate_without_bureaus
FROM serving.resolutions
