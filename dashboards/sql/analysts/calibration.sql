-- Does the model say what happens: predicted and observed success by tenth of the probability.
SELECT
    CAST(floor(probability * 10) AS INT) AS tenth,
    count(*) AS judged,
    round(avg(probability), 3) AS predicted,
    round(avg(succeeded), 3) AS observed
FROM serving.model_quality
GROUP BY CAST(floor(probability * 10) AS INT)
ORDER BY tenth
