-- Top issues by product: The issues complained about most, each with its product.
SELECT
    product || ': ' || issue AS product_issue,
    COUNT(*) AS complaints
FROM serving.complaints
GROUP BY product || ': ' || issue
ORDER BY complaints DESC, product_issue
LIMIT 10
