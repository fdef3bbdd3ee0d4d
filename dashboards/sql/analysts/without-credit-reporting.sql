-- The same rates with and without credit reporting, which is most of the public data.
SELECT
    'all products' AS scope,
    count(*) AS complaints,
    round(avg(CASE WHEN escalate THEN 1e0 ELSE 0e0 END), 4) AS escalation_rate
FROM gold.current_decisions
UNION ALL
SELECT
    'without credit reporting',
    count(*),
    round(avg(CASE WHEN escalate THEN 1e0 ELSE 0e0 END), 4)
FROM gold.current_decisions
WHERE product_family <> 'Credit reporting'
ORDER BY scope
