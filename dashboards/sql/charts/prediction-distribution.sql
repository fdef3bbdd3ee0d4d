-- Prediction distribution: Complaints of the latest hour by predicted probability of a successful resolution.
SELECT
    predicted,
    COUNT(*) AS complaints
FROM serving.decisions
WHERE in_latest_hour
GROUP BY predicted
ORDER BY complaints DESC, predicted
LIMIT 10
