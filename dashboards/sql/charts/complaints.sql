-- Complaints: Complaints in the time and places chosen.
SELECT
    COUNT(*) AS complaints
FROM serving.complaints
