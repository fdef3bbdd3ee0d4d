-- Model quality by version: Predictions beside what became of the complaints, by model version.
SELECT
    model_version,
    scored_with,
    COUNT(*) AS judged,
    AVG(squared_error) AS brier,
    AVG(probability) AS predicted_rate,
    AVG(succeeded) AS observed_rate,
    AVG(probability) - AVG(succeeded) AS drift
FROM serving.model_quality
GROUP BY model_version, scored_with
ORDER BY judged DESC, model_version
LIMIT 50
