-- Complaints in the last hour: Complaints decided in the last hour.
SELECT
    COUNT(*) AS complaints
FROM serving.decisions
WHERE scored_at >= (SELECT max(scored_at) FROM serving.decisions) - INTERVAL 1 HOUR
