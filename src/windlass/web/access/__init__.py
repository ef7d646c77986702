"""Who may come in, and do what.

`roles` are what there is, `vault` keeps who may come in, `gate` looks at each request, and `audit` writes down what was
changed.
"""
