-- Escalation rate by product: Share of the complaints of the latest hour that ask for a second reader.
SELECT
    product,
    SUM(escalated) * 1e0 / NULLIF(SUM(complaints), 0) AS escalation_rate
FROM serving.minutes
WHERE in_latest_hour
GROUP BY product
ORDER BY escalation_rate DESC, product
LIMIT 10
