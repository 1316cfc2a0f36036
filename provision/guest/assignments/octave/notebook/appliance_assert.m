function appliance_assert (names, values)
  ## Octave's assert, which says what it was given in the words of the test.
  told = strjoin (names, ",");
  if (numel (values) == 1 || (numel (values) > 1 && islogical (values{1}) && ischar (values{2})))
    is = values{1};
    if ((isnumeric (is) || islogical (is)) && ! isempty (is) && all (is(:)))
      return;
    elseif (numel (values) > 1)
      error (values{2:end});
    endif
    error ("assert (%s) failed", told);
  endif
  try
    builtin ("assert", values{:});
  catch e
    error ("%s", regexprep (e.message, '^(ASSERT errors for:  assert )\([^\n]*\)', ["$1(" told ")"]));
  end_try_catch
  note_look (values(1));
endfunction
