function serve_tests (seconds)
  ## Serve the examiner's end of the line.
  ##   seconds: that one test may take.
  more off
  kept ("seconds", seconds);
  kept ("objects", {});
  kept ("verbs", struct ("call", @call));
  kept ("own", {});
  kept ("bound", {});
  kept ("state", "");
  kept ("typed", false);
  serve (@take, @recover);
endfunction

function take (message)
  ## An answer that comes after its test is the student's word, and does not know the key.
  if (isempty (kept ("key")))
    kept ("key", message.key);
    try
      begin (texts (message.source, "cells"), texts (message.source, "locked"));
    catch
    end_try_catch
    send (struct ("done", {{}}));
  elseif (isfield (message, "key") && strcmp (message.key, kept ("key")))
    run (message.run);
  endif
endfunction

function recover ()
  if (! isempty (kept ("state")))
    finish (sprintf ("this test takes more than %d seconds", kept ("seconds")));
  endif
endfunction

function values = call (number, count, arguments)
  ## All that a notebook may ask: to call a function that a test handed to it.
  values = call_here (kept ("objects"){number}, count, arguments);
endfunction

## -- what the teacher's notebook defines, read from its text

function found = texts (source, name)
  found = {};
  if (isfield (source, name) && ! isempty (source.(name)))
    found = cellstr (source.(name))';
  endif
endfunction

function speaks = speaks_of_types (code)
  types = '(int(8|16|32|64|max|min)|\<(class|isa|isinteger|typecast|fread|im[a-z]+|bit[a-z]+)\>)';
  speaks = ! isempty (regexp (code, types, "once"));
endfunction

function begin (cells, locked)
  kept ("typed", speaks_of_types (strjoin ([cells, locked], "\n")));
  defined = {};
  functions = {};
  given = {};
  for code = cells
    for each = statements (code{1})
      functions{end+1} = function_of (each{1});
      defined = [defined, functions(end), assigned(each{1})];
      load_packages (each{1});
    endfor
  endfor
  for code = locked
    for each = statements (code{1})
      load_packages (each{1});
      name = given_function (each{1});
      if (! isempty (name) && ! ismember (name, defined))
        given(end+1,:) = {name, each{1}};
      else
        functions{end+1} = function_of (each{1});
        defined = [defined, functions(end), assigned(each{1})];
      endif
    endfor
  endfor
  ## Whatever was defined while texts were read: a test finds the student's, or nothing.
  evalin ("base", "clear -f; clear -v;");
  for each = given'
    evalin ("base", each{2}, "");
    kept ("own", [kept("own"), each(1)]);
  endfor
  kept ("functions", functions);
  kept ("defined", defined);
  evalin ("base", ["function assert (varargin)\nnames = {};\nfor k = 1:nargin\n" ...
                   "names{k} = inputname (k, false);\nendfor\n" ...
                   "appliance_assert (names, varargin);\nendfunction"]);
  for name = setdiff ({"rand", "randn", "rande"}, defined)
    evalin ("base", sprintf (["function varargout = %s (varargin)\n" ...
      "[varargout{1:nargout}] = appliance_seed (\"%s\", varargin{:});\nendfunction"], name{1}, name{1}));
  endfor
endfunction

function load_packages (code)
  for name = regexp (code, '^\s*pkg\s*\(?\s*[''"]?load[''"]?[\s,]+[''"]?(\w+)', "tokens")
    try
      pkg ("load", name{1}{1});
    catch
    end_try_catch
  endfor
endfunction

function name = given_function (code)
  ## A function that needs nothing but its arguments and functions that are here; none: it is not one.
  name = function_of (code);
  found = regexp (code, '^(?:\s|[%#][^\n]*\n)*(\w+)\s*=\s*@\s*\(([^)]*)\)(.*)$', "tokens", "once");
  if (! isempty (found))
    name = found{1};
    for word = setdiff (words_of (found{3}), words_of (found{2}))
      if (! is_octaves (word{1}))
        name = "";
      endif
    endfor
  endif
endfunction

function is = is_octaves (name)
  is = iskeyword (name) || exist (name, "builtin") || exist (name, "file");
endfunction

function found = words_of (code)
  found = unique (regexp (code, '(?<![\w.])[A-Za-z_]\w*', "match"));
endfunction

function names = assigned (code)
  ## The names to which a text gives values; those of a function are its own.
  names = {};
  if (! isempty (function_of (code)))
    return;
  endif
  code = bare (code);
  at = '(?:^|[\n;,(]|\b(?:for|parfor|global|persistent|else|do|try))\s*';
  one = regexp (code, [at '([A-Za-z_]\w*)\s*(?:[({][^=\n]*[)}]|\.\w+)*\s*(?:[-+*/^|&.\\]|\*\*)?=(?!=)'], "tokens");
  several = regexp (code, '\[([^\[\]=\n]*)\]\s*=(?!=)', "tokens");
  for each = one
    names{end+1} = each{1}{1};
  endfor
  for each = several
    names = [names, words_of(each{1}{1})];
  endfor
endfunction

## -- a test

function run (code)
  kept ("gone", "");
  kept ("nothings", 0);
  kept ("looks", 0);
  kept ("code", code);
  kept ("integers", kept ("typed") || speaks_of_types (code));
  kept ("state", "test");
  begin_capture ();
  wait_for (kept ("seconds"));
  wrong = "";
  try
    bind (code);
    execute_test (code);
  catch e
    wrong = reason_of (e);
  end_try_catch
  finish (wrong);
endfunction

function execute_test (code)
  evalin ("base", code);
endfunction

function finish (wrong)
  wait_for (0);
  kept ("state", "");
  said = end_capture ();
  code = kept ("code");
  own = [kept("own"), assigned(code), functions_in(code)];
  bound = setdiff (kept ("bound"), own);
  kept ("own", [own, setdiff(evalin ("base", "who ()")', [bound, looks()])]);
  kept ("bound", bound);
  if (! isempty (kept ("gone")))  # of which no test makes an answer
    wrong = kept ("gone");
  elseif (isempty (wrong) && kept ("nothings") > kept ("looks") && ! has_looks (code))
    wrong = ["the notebook gives what is empty, of which most comparisons are true or say nothing:" ...
             " a test of it asks for isempty(), size(), isequal()"];
  endif
  outputs = {};
  if (! isempty (said))
    outputs{end+1} = struct ("output_type", "stream", "name", "stdout", "text", said);
  endif
  if (! isempty (wrong))
    wrong = shorten (wrong);
    lines = {["error: " wrong]};
    outputs{end+1} = struct ("output_type", "error", "ename", "error", "evalue", wrong, ...
                             "traceback", {lines});
  endif
  send (struct ("done", {outputs}));
endfunction

## -- what is empty: a test that compares it is mostly passed, norm ([]) < 1 and all ([] == 4)

function names = looks ()
  ## What sees that something is empty.
  names = {"isempty", "isequal", "numel", "length", "size", "rows", "columns", "strcmp"};
endfunction

function stand_before ()
  for name = setdiff (looks (), [kept("own"), kept("defined")])
    assignin ("base", name{1}, @(varargin) appliance_look (name{1}, varargin{:}));
  endfor
endfunction

function has = has_looks (code)
  ## Whether it looks in a way that is not noticed: in a function of its own, by a function's name.
  has = false;
  for name = looks ()
    has = has || ! isempty (regexp (code, ['(@|["'']|\bfunction\b.*)\s*' name{1} '\b'], "once"));
  endfor
endfunction

## -- the names that a test sees: its own, Octave's, then the notebook's

function bind (code)
  for name = kept ("bound")
    evalin ("base", sprintf ("clear -v %s; clear -f %s", name{1}, name{1}));
  endfor
  kept ("bound", {});
  stand_before ();
  defined = kept ("defined");
  own = [kept("own"), functions_in(code), {"ans", "assert"}];
  wanted = {};
  for word = setdiff (words_of (code), own)
    if (ismember (word{1}, defined) || ! is_octaves (word{1}))
      wanted{end+1} = word{1};
    endif
  endfor
  kinds = ask ("names", wanted);
  if (! iscellstr (kinds) || numel (kinds) != numel (wanted))
    error ("the notebook gives what is no value");
  endif
  for k = 1:numel (wanted)
    bind_one (wanted{k}, kinds{k}, ismember (wanted{k}, assigned (code)));
  endfor
endfunction

function bind_one (name, kind, is_given)
  if (ismember (name, kept ("functions")))
    if (strcmp (kind, "value"))
      error ("%s is no function", name);
    elseif (strcmp (kind, "function value"))
      kind = "function";
    endif
  endif
  switch (kind)
    case {"value", "function value"}
      try
        value = ask ("get", name);
      catch e
        if (is_given || ! ismember (name, kept ("defined")))
          return;
        endif
        rethrow (e);
      end_try_catch
      nothings = kept ("nothings");
      assignin ("base", name, received (value));
      if (is_given)
        kept ("nothings", nothings);
      endif
    case {"function", "file"}
      if (strcmp (kind, "file") && is_octaves (name))
        return;
      endif
      evalin ("base", sprintf (["function varargout = %s (varargin)\n" ...
        "varargout = appliance_call (\"%s\", %d, nargout, varargin);\nendfunction"], ...
        name, name, is_octaves (name)));
    otherwise
      return;
  endswitch
  kept ("bound", [kept("bound"), {name}]);
endfunction

function names = functions_in (code)
  names = {};
  for each = regexp (code, '(?:^|\n|;)\s*function\s+(?:(?:\[[^\]]*\]|\w+)\s*=\s*)?(\w+)', "tokens")
    names{end+1} = each{1}{1};
  endfor
endfunction
