function number = number_of (f)
  ## The number of what stands for a function of the other side's; 0: it is none.
  number = 0;
  if (strcmp (func2str (f), func2str (stand_in (0))))
    scope = functions (f).workspace{1};
    if (isfield (scope, "other") && strcmp (func2str (scope.other), "call_other"))
      number = scope.number;
    endif
  endif
endfunction
