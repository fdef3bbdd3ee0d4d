-- Model version: The model version that scores.
SELECT
    MAX(CAST(model_version AS INT)) AS model_version_now
FROM serving.decisions
WHERE scored_at >= (SELECT max(scored_at) FROM serving.decisions) - INTERVAL 1 HOUR
