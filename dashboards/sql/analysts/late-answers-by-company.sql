-- Who answers late: companies by their untimely answers.
SELECT
    company,
    count(*) AS answers,
    sum(CASE WHEN timely_response THEN 0 ELSE 1 END) AS late,
    round(avg(CASE WHEN timely_response THEN 0e0 ELSE 1e0 END), 4) AS late_rate
FROM serving.resolutions
WHERE timely_response IS NOT NULL
GROUP BY company
HAVING sum(CASE WHEN timely_response THEN 0 ELSE 1 END) > 0
ORDER BY late DESC, company
LIMIT 25
