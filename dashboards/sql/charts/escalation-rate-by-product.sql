-- Escalation rate by product: Share of the complaints of the last hour that ask for a second reader.
SELECT
    product,
    SUM(escalated) * 1e0 / NULLIF(SUM(complaints), 0) AS escalation_rate
FROM serving.minutes
WHERE minute >= (SELECT max(minute) FROM serving.minutes) - INTERVAL 1 HOUR
GROUP BY product
ORDER BY escalation_rate DESC, product
LIMIT 10
