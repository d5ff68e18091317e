"""Writes ratings.csv: 100 made-up users rate some of 40 made-up movies, by tastes that a factorization can find."""

import numpy
import pandas

USERS, MOVIES, TASTES = 100, 40, 3

random = numpy.random.default_rng(0)
likes = random.normal(size=(USERS, TASTES)) @ random.normal(size=(TASTES, MOVIES))
ratings = numpy.clip(numpy.rint(3.5 + 0.8 * likes + 0.3 * random.normal(size=likes.shape)), 1, 5)
users, movies = numpy.nonzero(random.random(likes.shape) < 0.4)
pandas.DataFrame({"userid": users, "movieid": movies, "rating": ratings[users, movies]}).to_csv(
    "ratings.csv", index=False
)
