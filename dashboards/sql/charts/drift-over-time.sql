-- Drift over time: Population stability index of the score and of the worst feature, by week of receipt; look when it is above 0.2.
SELECT
    date_trunc('week', week) AS week,
    CASE WHEN feature = 'probability' THEN 'Score' ELSE 'Worst feature' END || ', version ' || model_version AS stability_of,
    MAX(CASE WHEN measure = 'population_stability' THEN value END) AS greatest_drift
FROM serving.model_quality_by_week
WHERE week >= DATE'2011-12-01'
  AND measure IN ('population_stability')
GROUP BY date_trunc('week', week), CASE WHEN feature = 'probability' THEN 'Score' ELSE 'Worst feature' END || ', version ' || model_version
ORDER BY week, stability_of
LIMIT 10000
