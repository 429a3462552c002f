import sys
from labs import launch, cluster_file, state
def main(argv=None):
    f=state.StateFolder.of(None)
    print(launch.up(f, cluster_file.ClusterConfig(), progress=print))
if __name__=='__main__': main()
