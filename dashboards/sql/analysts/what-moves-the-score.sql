-- The feature that moved the score most, by how many complaints, with its mean contribution in logits.
SELECT
    try_element_at(influences, 1).feature AS feature,
    count(*) AS complaints,
    round(avg(try_element_at(influences, 1).contribution), 3) AS mean_contribution
FROM gold.current_decisions
GROUP BY try_element_at(influences, 1).feature
ORDER BY complaints DESC, feature
LIMIT 30
