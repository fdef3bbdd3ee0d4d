-- Complaints by state: States with most complaints; click a state to see only that.
SELECT
    state,
    COUNT(*) AS complaints,
    SUM(CASE WHEN is_relief THEN 1.0 ELSE 0.0 END) / NULLIF(SUM(CASE WHEN is_relief IS NOT NULL THEN 1.0 ELSE 0.0 END), 0) AS relief_rate
FROM serving.complaints
GROUP BY state
ORDER BY complaints DESC, state
LIMIT 60
