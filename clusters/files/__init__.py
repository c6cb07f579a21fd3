"""Trees that hostile code writes, while we read and change them.

Every step is taken from an open folder by name, without following links; a path is only ever a list
of such steps. Knows neither Django nor HTTP nor who asks: `clusters.actions.files` and
`clusters.queries.files` do.
"""
