-- Top issues by product: The issues complained about most, each with its product; click one to see only that.
SELECT
    product,
    issue,
    COUNT(*) AS complaints
FROM serving.complaints
GROUP BY product, issue
ORDER BY complaints DESC, product
LIMIT 25
