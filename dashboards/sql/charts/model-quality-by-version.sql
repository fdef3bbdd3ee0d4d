-- Model quality by version: Each version on complaints that it did not learn from, over all weeks.
SELECT
    model_version,
    SUM(CASE WHEN measure = 'base_rate' THEN rows END) AS judged,
    SUM(CASE WHEN measure = 'auc_roc' THEN value * rows END) / SUM(CASE WHEN measure = 'auc_roc' THEN rows END) AS auc_roc,
    SUM(CASE WHEN measure = 'ece' THEN value * rows END) / SUM(CASE WHEN measure = 'ece' THEN rows END) AS ece,
    SUM(CASE WHEN measure = 'base_rate' THEN value * rows END) / SUM(CASE WHEN measure = 'base_rate' THEN rows END) AS base_rate,
    MAX(CASE WHEN measure = 'population_stability' AND feature = 'probability' THEN value END) AS score_drift,
    MAX(CASE WHEN measure = 'population_stability' THEN value END) AS greatest_drift,
    SUM(CASE WHEN is_alert THEN 1 ELSE 0 END) AS alerts
FROM serving.model_quality_by_week
GROUP BY model_version
ORDER BY judged DESC, model_version
LIMIT 50
