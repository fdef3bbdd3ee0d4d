-- Data as of: When the tables last changed; says so while there is no data yet.
SELECT
    table_name,
    state
FROM serving.freshness
ORDER BY table_name DESC
LIMIT 10
