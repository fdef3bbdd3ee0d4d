-- Prediction distribution: Predicted probability of a successful resolution in the last hour.
SELECT
    predicted,
    COUNT(*) AS complaints
FROM serving.decisions
WHERE scored_at >= (SELECT max(scored_at) FROM serving.decisions) - INTERVAL 1 HOUR
GROUP BY predicted
ORDER BY complaints DESC, predicted
LIMIT 12
