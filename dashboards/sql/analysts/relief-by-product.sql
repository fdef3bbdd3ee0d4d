-- Share of final answers that gave relief, and money, by product.
SELECT
    product,
    count(*) AS answered,
    round(avg(CASE WHEN is_relief THEN 1e0 ELSE 0e0 END), 4) AS relief_rate,
    round(avg(CASE WHEN is_monetary_relief THEN 1e0 ELSE 0e0 END), 4) AS monetary_relief_rate
FROM serving.resolutions
WHERE is_final
GROUP BY product
ORDER BY answered DESC, product
