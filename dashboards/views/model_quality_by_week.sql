-- How good each model version was on complaints it did not learn from, and whether they look as in training. One row:
-- one figure of one version in one week.
SELECT
    q.week,
    q.model_name,
    q.model_version,
    q.measure,
    q.feature,
    q.rows,
    q.value,
    q.is_alert
FROM gold.model_quality AS q
