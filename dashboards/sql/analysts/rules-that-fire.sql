-- How often each decision rule fires first, and the regulation it rests on.
SELECT
    try_element_at(reasons, 1).rule AS rule,
    try_element_at(reasons, 1).basis AS basis,
    count(*) AS complaints
FROM gold.current_decisions
GROUP BY try_element_at(reasons, 1).rule, try_element_at(reasons, 1).basis
ORDER BY complaints DESC, rule
