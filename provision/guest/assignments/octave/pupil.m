## In the pupil's box: runs a notebook's cells, and answers what the tests ask of their names; see
## pupil.py. Nothing that this process says is believed, but as the value of what was asked.
warning ("off", "Octave:shadowed-function");
addpath (fullfile (argv (){1}, "notebook"));
serve_cells (str2double (argv (){2}));
