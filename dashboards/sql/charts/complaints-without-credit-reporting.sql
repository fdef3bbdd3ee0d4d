-- Complaints without credit reporting: The same, credit reporting left out.
SELECT
    SUM(CASE WHEN product <> 'Credit reporting' THEN 1 ELSE 0 END) AS complaints_without_bureaus
FROM serving.complaints
