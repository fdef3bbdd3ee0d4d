-- How long the streaming queries take and what still waits. One row: one batch of one query.
SELECT
    h.started_at,
    h.query,
    h.batch_id,
    h.rows,
    h.batch_ms,
    h.offsets_ms,
    h.planning_ms,
    h.execution_ms,
    h.commit_ms,
    h.lag_rows,
    h.started_at > (SELECT max(l.started_at) FROM gold.stream_health AS l) - INTERVAL 1 HOUR AS in_latest_hour
FROM gold.stream_health AS h
