"""A notebook as a page, as slides or as a PDF: complete in itself, made without any network.

Formulas are set here, by the MathJax that a browser would load (``formulas``), pictures in three
dimensions are drawn as they are first seen (``scene``), and what remains needs no program.
"""
