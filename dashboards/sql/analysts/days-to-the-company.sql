-- Days from receipt until the complaint was sent to the company: median, 90th percentile, worst.
SELECT
    product,
    count(*) AS complaints,
    percentile(resolution_days, 0.5) AS median_days,
    percentile(resolution_days, 0.9) AS p90_days,
    max(resolution_days) AS worst_days
FROM serving.resolutions
WHERE resolution_days IS NOT NULL
GROUP BY product
ORDER BY product
