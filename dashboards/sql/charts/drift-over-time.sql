-- Drift over time: Population stability of the score and of the worst feature, by week of receipt; above 0.2 look.
SELECT
    date_trunc('week', week) AS week,
    model_version,
    MAX(CASE WHEN measure = 'population_stability' AND feature = 'probability' THEN value END) AS score_drift,
    MAX(CASE WHEN measure = 'population_stability' THEN value END) AS greatest_drift
FROM serving.model_quality_by_week
WHERE week >= DATE'2011-12-01'
GROUP BY date_trunc('week', week), model_version
ORDER BY week, model_version
LIMIT 10000
