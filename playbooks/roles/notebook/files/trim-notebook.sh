# Leave out of the notebook's environment what nobody uses: sh trim-notebook.sh PREFIX. A build runs it, and
# whoever packs an environment for appliances in use, whose packages are right below PREFIX.
set -eu
share=$1/share
for site in "$1"/lib/python3*/site-packages; do [ -d "$site" ] || site=$1; done

# Source maps, and each icon's drawing beside the font that has them all, serve only those who change its pages.
find "$share" "(" -name "*.map" -o -path "*/@fortawesome/*" -type f \
    -not -path "*/css/*" -not -path "*/webfonts/*" -not -name LICENSE.txt ")" -delete
cd "$site"
# Of MathJax and reveal.js stays what exports take into their pages.
find mathjax sphinx_revealjs -type f \
    -not -path "*/__init__.py" -not -path "*/LICENSE" -not -path "*/es5/loader.js" -not -path "*/es5/core.js" \
    -not -path "*/es5/adaptors/liteDOM.js" -not -path "*/es5/input/tex-full.js" -not -path "*/es5/output/svg.js" \
    -not -path "*/es5/output/svg/fonts/tex.js" -not -path "*/dist/reveal.js" -not -path "*/dist/reveal.css" \
    -not -path "*/dist/theme/white.css" -delete
find mathjax sphinx_revealjs -type d -empty -delete
# jsonschema does without: nothing of ours checks IRIs, and this grammar took two seconds of each start of
# the hub and of a session.
rm -r rfc3987_syntax lark
# Of nbconvert's exports those that work without a TeX, a browser, pandoc or the internet, and that
# ours do not stand for (provision/guest/exports).
sed -i -E "/^(asciidoc|custom|html|latex|pdf|qtpdf|qtpng|rst|slides|webpdf) = /d" nbconvert-*.dist-info/entry_points.txt
