# A package without files in the place of Mesa: sh stand-in.sh, as root.
# ffmpeg can show a film in a window. That asks for Mesa, which brings LLVM and Z3: 200 MB, for a screen
# that is not there. Who does want it (`packages: [mesa-libgallium]`, apt-get install) gets it whole, as
# does whoever asks for LLVM itself; so does an update of Mesa, which asks for the same version.
set -eu
real=mesa-libgallium
if dpkg-query --show "$real" > /dev/null 2>&1; then exit; fi
version=$(apt-cache policy "$real" | awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }')
[ -n "$version" ] || exit 0 # an older Mesa, in one piece
place=$(mktemp -d)
trap 'rm -r "$place"' EXIT
mkdir "$place/DEBIAN"
cat > "$place/DEBIAN/control" <<END
Package: appliance-no-mesa
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: classroom-appliance <root@localhost>
Section: libs
Priority: optional
Provides: $real (= $version)
Description: stands in for Mesa, where there is no screen
END
chmod 0755 "$place"
dpkg-deb --root-owner-group --build "$place" "$place.deb" > /dev/null
dpkg --install "$place.deb" > /dev/null
rm "$place.deb"
