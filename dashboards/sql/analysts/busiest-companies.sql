-- The companies with most complaints, with their share of all.
SELECT
    company,
    count(*) AS complaints,
    round(1e2 * count(*) / sum(count(*)) OVER (), 2) AS percent
FROM gold.current_decisions
WHERE company IS NOT NULL
GROUP BY company
ORDER BY complaints DESC, company
LIMIT 20
