-- Model version: The model version that scores.
SELECT
    MAX(CAST(model_version AS INT)) AS model_version_now
FROM serving.decisions
WHERE in_latest_hour
