-- Companies with at least 20 final answers, by how often they give relief.
SELECT
    company,
    count(*) AS answered,
    round(avg(CASE WHEN is_relief THEN 1e0 ELSE 0e0 END), 4) AS relief_rate
FROM serving.resolutions
WHERE is_final
GROUP BY company
HAVING count(*) >= 20
ORDER BY relief_rate DESC, answered DESC, company
LIMIT 50
