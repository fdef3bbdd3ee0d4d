-- Withdrawn complaints: Complaints that the latest full export no longer has.
SELECT
    SUM(CASE WHEN is_withdrawn THEN 1 ELSE 0 END) AS withdrawn
FROM serving.complaints
