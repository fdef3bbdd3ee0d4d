-- Complaints by state: States with most complaints; click a state to see only that.
SELECT
    state,
    COUNT(*) AS complaints,
    AVG(CASE WHEN escalate THEN 1e0 ELSE 0e0 END) AS escalation_rate
FROM serving.complaints
GROUP BY state
ORDER BY complaints DESC, state
LIMIT 100
