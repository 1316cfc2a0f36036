/* Starts a VM without VirtualBox's kernel driver: put in VBoxHeadless's place.
 *
 * VirtualBox 7 can run without its driver, but the stock VBoxHeadless never asks for it. This asks
 * (flags of SUPR3InitEx, VirtualBox's include/VBox/sup.h), and then hands over to VBoxHeadless.so
 * as the stock one does. The VM needs `modifyvm NAME --vm-execution-engine=interpreter`.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define DRIVERLESS 4u
#define DRIVERLESS_INTERPRETER_ALLOWED 8u
#define HOME "/usr/lib/virtualbox/"

static void *symbol(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
    void *found = handle ? dlsym(handle, name) : NULL;
    if (!found) {
        fprintf(stderr, "launcher: %s\n", dlerror());
        exit(1);
    }
    return found;
}

static void check(const char *what, int status)
{
    if (status < 0) {
        fprintf(stderr, "launcher: %s failed with %d\n", what, status);
        exit(1);
    }
}

int main(int argc, char **argv, char **envp)
{
    int (*init)(int, char ***, uint32_t) = symbol(HOME "VBoxRT.so", "RTR3InitExe");
    int (*support)(uint32_t, void **) = symbol(HOME "VBoxRT.so", "SUPR3InitEx");
    void *session = NULL;
    check("RTR3InitExe", init(argc, &argv, 0));
    check("SUPR3InitEx", support(DRIVERLESS | DRIVERLESS_INTERPRETER_ALLOWED, &session));
    int (*trusted)(int, char **, char **) = symbol(HOME "VBoxHeadless.so", "TrustedMain");
    return trusted(argc, argv, envp);
}
