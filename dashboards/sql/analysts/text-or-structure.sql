-- What a narrative is worth: Brier score with and without one, by model version.
SELECT
    model_version,
    scored_with,
    count(*) AS judged,
    round(avg(squared_error), 4) AS brier
FROM serving.model_quality
GROUP BY model_version, scored_with
ORDER BY model_version, scored_with
