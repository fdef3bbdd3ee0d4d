-- Complaints by state: States with most complaints; click a state to see only that.
SELECT
    state,
    COUNT(*) AS complaints,
    AVG(CASE WHEN escalate THEN 1.0 ELSE 0.0 END) AS escalation_rate
FROM serving.complaints
GROUP BY state
ORDER BY complaints DESC, state
LIMIT 60
