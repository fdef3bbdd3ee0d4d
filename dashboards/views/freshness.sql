-- When each table last changed, in words too. One row: one table.
SELECT
    t.table_name,
    t.last_change,
    t.row_count,
    CASE WHEN t.row_count = 0 THEN 'no data yet'
         ELSE 'last changed ' || substr(CAST(t.last_change AS STRING), 1, 19) || ' UTC' END AS state
FROM (
    SELECT 'gold.decisions' AS table_name, max(scored_at) AS last_change, count(*) AS row_count FROM gold.decisions
    UNION ALL
    SELECT 'gold.complaints_by_minute', max(minute), count(*) FROM gold.complaints_by_minute
    UNION ALL
    SELECT 'gold.stream_health', max(started_at), count(*) FROM gold.stream_health
    UNION ALL
    SELECT 'silver.outcomes', max(observed_at), count(*) FROM silver.outcomes
    UNION ALL
    SELECT 'silver.quarantine', max(refined_at), count(*) FROM silver.quarantine
) AS t
