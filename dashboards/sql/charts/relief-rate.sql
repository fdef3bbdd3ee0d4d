-- Relief rate: Share of the final answers that gave relief.
SELECT
    SUM(CASE WHEN is_relief THEN 1.0 ELSE 0.0 END) / NULLIF(SUM(CASE WHEN is_relief IS NOT NULL THEN 1.0 ELSE 0.0 END), 0) AS relief_rate
FROM serving.resolutions
