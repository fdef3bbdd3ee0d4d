-- States with at least 10 complaints by escalation rate.
SELECT
    state,
    sum(complaints) AS complaints,
    round(sum(escalated) * 1e0 / sum(complaints), 4) AS escalation_rate
FROM gold.complaints_by_day
WHERE state <> ''
GROUP BY state
HAVING sum(complaints) >= 10
ORDER BY escalation_rate DESC, state
