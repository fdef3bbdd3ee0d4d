-- Relief rate: Share of the final answers that gave relief.
SELECT
    SUM(CASE WHEN is_relief THEN 1e0 ELSE 0e0 END) / NULLIF(SUM(CASE WHEN is_relief IS NOT NULL THEN 1e0 ELSE 0e0 END), 0) AS relief_rate
FROM serving.resolutions
