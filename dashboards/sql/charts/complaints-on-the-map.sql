-- Complaints on the map: Where people complain; the table beside it filters.
SELECT
    map_code,
    COUNT(*) AS complaints
FROM serving.complaints
WHERE map_code IS NOT NULL
GROUP BY map_code
ORDER BY complaints DESC, map_code
LIMIT 100
