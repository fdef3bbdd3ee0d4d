-- Complaints in the latest hour: Complaints decided in the latest hour.
SELECT
    COUNT(*) AS complaints
FROM serving.decisions
WHERE in_latest_hour
