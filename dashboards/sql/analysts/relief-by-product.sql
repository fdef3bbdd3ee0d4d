-- Share of final answers that gave relief, and money, by product.
SELECT
    product,
    count(*) AS answered,
    round(avg(CASE WHEN is_relief THEN 1.0 ELSE 0.0 END), 4) AS relief_rate,
    round(avg(CASE WHEN is_monetary_relief THEN 1.0 ELSE 0.0 END), 4) AS monetary_relief_rate
FROM serving.resolutions
WHERE is_final
GROUP BY product
ORDER BY answered DESC, product
